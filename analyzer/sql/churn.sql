-- Per metric: series that began and series that ended. $1 whether the window before was seen, $2 the last moment seen in the window.
-- Where the window before was not seen, a series began if it came more than three intervals after the metric's first.
WITH firsts AS (SELECT number, min(epoch(first_time)) AS first FROM described GROUP BY number)
SELECT number,
       CASE WHEN $1 THEN count(*) FILTER (series_id NOT IN (SELECT series_id FROM before))
            WHEN any_value(seconds) IS NOT NULL THEN count(*) FILTER (epoch(first_time) > first + 3 * seconds) END AS born,
       CASE WHEN any_value(seconds) IS NOT NULL THEN count(*) FILTER (epoch(last_time) < epoch($2::TIMESTAMP) - 3 * seconds) END AS ended,
       any_value(seconds) AS interval_seconds
FROM described JOIN firsts USING (number) LEFT JOIN intervals USING (number)
GROUP BY number
