-- Whole days: those of whose hours at least $5 have points. $1 side, $2 start, $3 end, $4 gateway or NULL.
SELECT date_trunc('day', bucket)::DATE AS day FROM points
WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
GROUP BY day HAVING count(DISTINCT date_trunc('hour', bucket)) >= $5 ORDER BY day
