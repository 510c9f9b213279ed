-- Metrics volume of one side over one window; $5 is a list of metric names, or NULL for all.
SELECT count(DISTINCT series_id) AS series, coalesce(sum(points), 0) AS points, coalesce(sum(bytes), 0) AS bytes,
       coalesce(sum(prom_series), 0) AS prom_series
FROM (
    SELECT series_id, sum(count) AS points, sum(bytes) AS bytes
    FROM points
    WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
    GROUP BY series_id
) JOIN series USING (series_id)
WHERE $5 IS NULL OR list_contains($5::VARCHAR[], metric)
