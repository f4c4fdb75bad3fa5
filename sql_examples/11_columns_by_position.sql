-- Which customers are most likely to leave?
--
-- churn takes twelve numbers, in the order in which kerasql show churn lists its columns.
-- A comparison such as Gender = 'Male' counts as 1 or 0.

SELECT CustomerId AS customer,
       round(churn_scores(CreditScore, Gender = 'Male', Age, Tenure, Balance, NumOfProducts,
                          HasCrCard, IsActiveMember, EstimatedSalary, Geography = 'France',
                          Geography = 'Germany', Geography = 'Spain'), 3) AS probability
FROM customers
ORDER BY probability DESC, customer
LIMIT 10
