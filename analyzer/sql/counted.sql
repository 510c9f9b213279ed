-- Log records and spans of one side over one window, from exact counts. $1 side, $2 start, $3 end, $4 gateway or NULL.
SELECT 'logs' AS signal, coalesce(sum(count), 0) AS items, coalesce(sum(bytes), 0) AS bytes
FROM log_counts WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
UNION ALL
SELECT 'traces', coalesce(sum(count), 0), coalesce(sum(bytes), 0)
FROM span_counts WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
