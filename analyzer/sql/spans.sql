-- Per service and span name, from exact counts.
SELECT service, name, sum(count) AS spans, sum(bytes) AS bytes
FROM span_counts
WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
GROUP BY service, name ORDER BY service, name
