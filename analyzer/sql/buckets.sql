-- How many buckets of time there are. $1 side, $2 start, $3 end, $4 gateway or NULL.
SELECT count(DISTINCT bucket) FROM points
WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
