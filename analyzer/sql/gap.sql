-- Whether nothing at all was seen for longer than three usual intervals, in the window before. $1 side, $2 start, $3 end, $4 gateway or NULL.
WITH moments AS (
    SELECT DISTINCT epoch(bucket) AS moment FROM points
    WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
    UNION SELECT epoch($2::TIMESTAMP) UNION SELECT epoch($3::TIMESTAMP)
)
SELECT coalesce(max(step) > 3 * (SELECT median(seconds) FROM intervals) + (SELECT max(bucket_seconds) FROM segments), false) AS gap
FROM (SELECT moment - lag(moment) OVER (ORDER BY moment) AS step FROM moments)
