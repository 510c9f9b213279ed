-- Per metric: series that began and series that ended. $1 whether the window before was seen, $2 and $3 the first and last moment seen in the window.
-- Where the window before was not seen, a series began if it was not there in the first three intervals.
SELECT number,
       CASE WHEN $1 THEN count(*) FILTER (series_id NOT IN (SELECT series_id FROM before))
            WHEN any_value(seconds) IS NOT NULL THEN count(*) FILTER (epoch(first_time) >= epoch($2::TIMESTAMP) + 3 * seconds) END AS born,
       CASE WHEN any_value(seconds) IS NOT NULL THEN count(*) FILTER (epoch(last_time) < epoch($3::TIMESTAMP) - 3 * seconds) END AS ended,
       any_value(seconds) AS interval_seconds
FROM described LEFT JOIN intervals USING (number)
GROUP BY number
