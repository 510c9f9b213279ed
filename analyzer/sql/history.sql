-- Per metric and day: series and points. $1 side, $2 start, $3 end, $4 gateway or NULL.
WITH days AS (
    SELECT date_trunc('day', bucket)::DATE AS day, series_id, sum(count) AS points, sum(bytes) AS bytes
    FROM points
    WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
    GROUP BY ALL
)
SELECT metric, day, count(*) AS series, sum(prom_series) AS prom_series, sum(points) AS points, sum(bytes) AS bytes, sum(points * prom_series) AS samples
FROM days JOIN series USING (series_id)
GROUP BY metric, day ORDER BY metric, day
