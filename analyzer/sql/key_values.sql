-- Key-values in the order of their key and value, with the bytes of each as OTLP: an element of a repeated KeyValue with its AnyValue.
-- https://protobuf.dev/programming-guides/encoding/: a tag is a byte here, a length one byte below 128, two below 16384.
WITH sized AS (
    SELECT *, strlen(key) AS k,
           CASE value_type WHEN 'empty' THEN 0 WHEN 'bool' THEN 2 WHEN 'double' THEN 9 WHEN 'bytes' THEN 2 + strlen(value) // 2
                WHEN 'int' THEN CASE WHEN value LIKE '-%' THEN 11 ELSE 1 + greatest(1, ceil(length(value) * log2(10) / 7)) END
                ELSE 1 + strlen(value) + (CASE WHEN strlen(value) < 128 THEN 1 WHEN strlen(value) < 16384 THEN 2 ELSE 3 END) END AS v
    FROM kv WHERE kv_id IN (SELECT unnest(resource_kv) FROM resources UNION ALL SELECT unnest(point_kv) FROM described)
), wrapped AS (
    SELECT *, 1 + (CASE WHEN k < 128 THEN 1 ELSE 2 END) + k + 1 + (CASE WHEN v < 128 THEN 1 WHEN v < 16384 THEN 2 ELSE 3 END) + v AS inner_bytes
    FROM sized
)
SELECT kv_id, key, value, (inner_bytes + 1 + (CASE WHEN inner_bytes < 128 THEN 1 WHEN inner_bytes < 16384 THEN 2 ELSE 3 END))::DOUBLE AS bytes
FROM wrapped ORDER BY key, value, value_type, kv_id
