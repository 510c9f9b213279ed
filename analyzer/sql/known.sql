-- What describes the series of both windows, once each: many segments name the same. $1 side, $2 a list of metrics or NULL for all.
CREATE OR REPLACE TEMP TABLE known AS
SELECT DISTINCT ON (series_id) * EXCLUDE (gateway, side)
FROM all_series
WHERE side = $1 AND ($2 IS NULL OR list_contains($2::VARCHAR[], metric))
  AND (series_id IN (SELECT series_id FROM seen) OR series_id IN (SELECT series_id FROM before))
