-- The span of event time that segments of a side touch. $1 side, $2 gateway or NULL.
SELECT min(start) AS first, max(end_) AS last FROM segments WHERE side = $1 AND ($2 IS NULL OR gateway = $2)
