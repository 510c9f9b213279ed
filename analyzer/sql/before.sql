-- The same of the window before. $1 side, $2 start, $3 end, $4 gateway or NULL.
CREATE OR REPLACE TEMP TABLE before AS
SELECT series_id, sum(count)::DOUBLE AS points, sum(bytes)::DOUBLE AS bytes
FROM points
WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
GROUP BY series_id
