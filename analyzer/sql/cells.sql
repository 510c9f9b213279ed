-- Values to compare metrics by: of at most $5 label sets of each, the same ones for all metrics that have them, the last value of each bucket.
-- $1 side, $2 start, $3 end, $4 gateway or NULL.
WITH sets AS (
    SELECT number, hash(resource, list_sort(point_kv)) AS label_set, min(series_id) AS series_id FROM described GROUP BY number, label_set
), few AS (
    SELECT * FROM sets QUALIFY row_number() OVER (PARTITION BY number ORDER BY label_set) <= $5
)
SELECT number, hash(label_set, bucket, gateway) AS cell, arg_max(last, last_time) AS value
FROM points JOIN few USING (series_id)
WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4) AND isfinite(last)
GROUP BY number, label_set, bucket, gateway ORDER BY number, cell
