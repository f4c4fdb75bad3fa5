-- Which ten customers would take most money with them, weighing it by how likely they are to leave?
--
-- churn takes twelve numbers, in the order in which kerasql show churn lists its columns.
-- A comparison such as Gender = 'Male' counts as 1 or 0.

WITH answers AS (
  SELECT CustomerId AS customer,
         Balance AS balance,
         churn_scores(CreditScore, Gender = 'Male', Age, Tenure, Balance, NumOfProducts, HasCrCard,
                      IsActiveMember, EstimatedSalary, Geography = 'France',
                      Geography = 'Germany', Geography = 'Spain') AS leaves
  FROM customers
)
SELECT customer,
       balance,
       round(leaves, 3) AS leaves,
       round(balance * leaves) AS at_risk
FROM answers
ORDER BY at_risk DESC, customer
LIMIT 10
