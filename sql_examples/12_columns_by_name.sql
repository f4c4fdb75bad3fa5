-- How often is the churn model right in each country, and how many customers does it expect to lose?
--
-- With name => value the order does not matter, and a name that is wrong or missing is refused.

WITH answers AS (
  SELECT Geography AS country,
         Exited = 1 AS has_left,
         churn(
           credit_score => CreditScore,
           male => Gender = 'Male',
           age => Age,
           tenure => Tenure,
           balance => Balance,
           products => NumOfProducts,
           has_card => HasCrCard,
           is_active => IsActiveMember,
           salary => EstimatedSalary,
           france => Geography = 'France',
           germany => Geography = 'Germany',
           spain => Geography = 'Spain'
         ) = 'leaves' AS will_leave
  FROM customers
)
SELECT coalesce(country, 'all') AS country,
       count(*) AS customers,
       count_if(has_left) AS have_left,
       count_if(will_leave) AS expected_to_leave,
       round(avg(CAST(has_left = will_leave AS INT)), 4) AS accuracy
FROM answers
GROUP BY ROLLUP (country)
ORDER BY customers DESC, country
