-- Per metric and bucket: the sum of its series' last values. Metrics that are others summed up have the same. $1 side, $2 start, $3 end, $4 gateway or NULL.
SELECT number, epoch(bucket)::BIGINT AS bucket, sum(last) AS value
FROM points JOIN described USING (series_id)
WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4) AND isfinite(last)
GROUP BY number, bucket HAVING sum(last) <> 0 ORDER BY number, bucket
