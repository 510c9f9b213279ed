-- Metrics, numbered from 0 in the order in which a profile lists them.
CREATE OR REPLACE TEMP TABLE names AS
SELECT row_number() OVER (ORDER BY metric, unit, kind, temporality, monotonic) - 1 AS number, *
FROM (SELECT DISTINCT metric, unit, kind, temporality, monotonic FROM known SEMI JOIN seen USING (series_id))
