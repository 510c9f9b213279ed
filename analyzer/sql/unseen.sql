-- Nothing, where no segment reaches over the window before.
CREATE OR REPLACE TEMP TABLE before AS SELECT NULL::UBIGINT AS series_id, NULL::DOUBLE AS points, NULL::DOUBLE AS bytes WHERE false
