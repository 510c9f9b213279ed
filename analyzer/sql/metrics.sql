-- Per metric: series and points of one side over one window. $1 side, $2 start, $3 end, $4 gateway or NULL.
WITH seen AS (
    SELECT series_id, sum(count) AS points, sum(bytes) AS bytes
    FROM points
    WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
    GROUP BY series_id
)
SELECT metric, unit, kind, temporality, monotonic,
       count(*) AS series, sum(prom_series) AS prom_series, sum(points) AS points, sum(bytes) AS bytes,
       list_sort(list_distinct(list(service) FILTER (service <> ''))) AS services
FROM seen JOIN series USING (series_id)
GROUP BY metric, unit, kind, temporality, monotonic
ORDER BY metric, unit, kind, temporality, monotonic
