-- Metrics of one side over one window, whole or by the hour. $1 side, $2 start, $3 end, $4 gateway or NULL, $5 whether by the hour.
WITH seen AS (
    SELECT CASE WHEN $5 THEN date_trunc('hour', bucket) END AS hour, series_id, sum(count) AS points, sum(bytes) AS bytes
    FROM points
    WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
    GROUP BY ALL
)
SELECT hour, count(*) AS series, sum(prom_series) AS prom_series, sum(points) AS points, sum(bytes) AS bytes,
       sum(points * prom_series) AS samples
FROM seen JOIN series USING (series_id)
GROUP BY hour ORDER BY hour
