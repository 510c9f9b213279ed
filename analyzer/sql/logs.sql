-- Per service and severity number, from exact counts.
SELECT service, severity_number, sum(count) AS records, sum(bytes) AS bytes
FROM log_counts
WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
GROUP BY service, severity_number ORDER BY service, severity_number
