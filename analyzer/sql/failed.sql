-- Per service and span name: the share of sampled spans with status Error (2).
SELECT service, name, sum(weight) FILTER (status = 2) / sum(weight) AS failed
FROM spans
WHERE side = $1 AND time >= $2 AND time < $3 AND ($4 IS NULL OR gateway = $4)
GROUP BY service, name
