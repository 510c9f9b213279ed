-- Of at most $7 series of metric $5: its values beside the sum of those series of metric $6 that have all of its labels. $1 to $4 as everywhere.
WITH coarse AS (
    SELECT resource, point_kv, series_id FROM described WHERE number = $5 ORDER BY hash(resource, list_sort(point_kv)), series_id LIMIT $7
), parts AS (
    SELECT coarse.series_id AS whole, described.series_id
    FROM coarse JOIN described ON number = $6 AND described.resource = coarse.resource AND list_has_all(described.point_kv, coarse.point_kv)
), valued AS (
    SELECT series_id, bucket, gateway, arg_max(last, last_time) AS value
    FROM points
    WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
      AND (series_id IN (SELECT series_id FROM coarse) OR series_id IN (SELECT series_id FROM parts))
    GROUP BY ALL
), added AS (
    SELECT whole AS series_id, bucket, gateway, sum(value) AS parts, count(*) AS terms FROM parts JOIN valued USING (series_id) GROUP BY ALL
)
SELECT series_id, value, parts, coalesce(terms, 0) AS terms FROM coarse JOIN valued USING (series_id) LEFT JOIN added USING (series_id, bucket, gateway)
ORDER BY series_id, bucket, gateway
