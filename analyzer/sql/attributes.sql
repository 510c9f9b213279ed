-- Per service and attribute of sampled log records and spans: how many records it stands for, and how many bytes its key and value take.
-- $1 side, $2 start, $3 end, $4 gateway or NULL, $5 how many rows at most, the costliest first, $6 how many values to look at.
WITH sampled AS (
    SELECT 'logs' AS signal, service, attributes, bytes, weight FROM logs
    WHERE side = $1 AND time >= $2 AND time < $3 AND ($4 IS NULL OR gateway = $4)
    UNION ALL
    SELECT 'traces', service, attributes, bytes, weight FROM spans
    WHERE side = $1 AND time >= $2 AND time < $3 AND ($4 IS NULL OR gateway = $4)
), services AS (
    SELECT signal, service, sum(weight) AS items, sum(bytes * weight) AS bytes FROM sampled GROUP BY ALL
), each AS (
    SELECT signal, service, weight, entry.key AS key, coalesce(entry.value ->> '$', 'null') AS value
    FROM (SELECT * FROM sampled WHERE json_valid(attributes)) AS valid, json_each(attributes) AS entry
)
SELECT signal, service, key, any_value(items) AS items, any_value(services.bytes) AS item_bytes, sum(weight) AS carrying,
       sum(weight * (strlen(key) + strlen(value))) AS bytes, sum(weight * strlen(value)) / sum(weight) AS mean_bytes, max(strlen(value)) AS longest,
       count(*) AS sampled, arg_min(value, hash(value), $6) AS looked_at
FROM each JOIN services USING (signal, service)
GROUP BY signal, service, key
ORDER BY bytes DESC, signal, service, key LIMIT $5
