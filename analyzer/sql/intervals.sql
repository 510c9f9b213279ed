-- Per metric: the median time between points of a series, over at most 32 of its series (their ids are keyed hashes: which, is chance).
-- A table of this connection. $1 side, $2 start, $3 end, $4 gateway or NULL.
CREATE OR REPLACE TEMP TABLE intervals AS
WITH few AS (
    SELECT number, series_id FROM described QUALIFY row_number() OVER (PARTITION BY number ORDER BY series_id) <= 32
), pieces AS (
    SELECT number, count, epoch(last_time) - epoch(first_time) AS within,
           epoch(first_time) - lag(epoch(last_time)) OVER (PARTITION BY series_id, gateway ORDER BY first_time) AS gap
    FROM points JOIN few USING (series_id)
    WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
)
SELECT number, median(seconds) AS seconds
FROM (SELECT number, gap AS seconds FROM pieces UNION ALL SELECT number, within / (count - 1) FROM pieces WHERE count > 1)
WHERE seconds > 0 GROUP BY number
