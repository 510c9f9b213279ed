-- The series of one side over one window, as a table of this connection. $1 side, $2 start, $3 end, $4 gateway or NULL.
CREATE OR REPLACE TEMP TABLE seen AS
SELECT series_id, sum(count)::DOUBLE AS points, sum(bytes)::DOUBLE AS bytes, min(first_time) AS first_time, max(last_time) AS last_time
FROM points
WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
GROUP BY series_id
