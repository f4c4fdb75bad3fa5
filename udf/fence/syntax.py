"""The parts of a query in Spark's own words: classes of plans and of expressions."""

# ruff: noqa: SIM905

from __future__ import annotations

PARSED = frozenset(
    """
    Aggregate CTERelationDef Deduplicate Distinct Except Filter Generate GlobalLimit Intersect Join
    LateralJoin LocalLimit LocalRelation Offset OneRowRelation PipeOperator Pivot Project
    RebalancePartitions
    Repartition RepartitionByExpression Sample Sort SubqueryAlias Tail Union Unpivot
    UnresolvedHaving UnresolvedHint UnresolvedInlineTable
    UnresolvedQualify UnresolvedRelation UnresolvedSubqueryColumnAliases UnresolvedTVFAliases
    UnresolvedTableValuedFunction UnresolvedWith Window WithCTE WithWindowDefinition
    """.split()
)
"""Plans that read and change nothing, as the parser makes them."""

ANALYSED = frozenset(
    """
    Aggregate CTERelationDef CTERelationRef Deduplicate Distinct Except Expand Filter Generate
    GlobalLimit Intersect Join LateralJoin LocalLimit LocalRelation Offset OneRowRelation
    PipeOperator Pivot Project Range RebalancePartitions Repartition RepartitionByExpression
    ResolvedHint Sample Sort SubqueryAlias Tail Union Unpivot View Window WithCTE
    """.split()
)
"""Plans that read and change nothing, as the analyser makes them; nothing but View reads."""

EXPRESSIONS = frozenset(
    """
    AggregateExpression Alias AttributeReference BinaryPad BinaryPredicate Cast Ceil Collate
    CommonExpressionDef CommonExpressionRef Contains CounterDiff CounterDiffWithStartTime Cube
    CurrentRow CurrentTimestamp DateAddInterval DateAddYMInterval DatetimeSub DivideDTInterval
    DivideInterval DivideYMInterval EndsWith Exists Explode ExtractANSIIntervalDays
    ExtractANSIIntervalHours ExtractANSIIntervalMinutes ExtractANSIIntervalMonths
    ExtractANSIIntervalSeconds ExtractANSIIntervalYears ExtractIntervalDays ExtractIntervalHours
    ExtractIntervalMinutes ExtractIntervalMonths ExtractIntervalSeconds ExtractIntervalYears
    Floor GeneratorOuter GetArrayItem GetArrayStructFields GetMapValue GetStructField
    GroupingSets Hour HoursOfTime InSubquery Inline KnownNullable LambdaFunction LateralSubquery
    LikeAll LikeAny ListQuery Literal LocalTimestamp MakeTimestamp MakeTimestampFromDateTime
    MakeTimestampNTZ Mask MaxBy MaxMinByK MinBy Minute MinutesOfTime Mode MultiAlias
    MultiplyDTInterval MultiplyInterval MultiplyYMInterval NamePlaceholder
    NamedArgumentExpression NamedLambdaVariable NotLikeAll NotLikeAny Now NullIfResult
    OuterReference ParseJson PercentileCont PercentileDisc PipeExpression PivotFirst PosExplode
    PreciseTimestampConversion RaiseError RangeFrame ResolvedCollation Rollup RoundCeil
    RoundFloor RowFrame ScalarSubquery Second SecondWithFraction SecondsOfTime
    SecondsOfTimeWithFraction SemiStructuredExtract SortOrder SpecifiedWindowFrame Stack
    StartsWith StringDecode StringInstr StringInstrWithOccurrence StringLPad StringRPad
    SubtractDates SubtractTimestamps TimeBucket TimestampAdd TimestampAddInterval
    TimestampAddYMInterval TimestampDiff ToCharacter TryEval TryMakeTimestamp
    TryMakeTimestampFromDateTime UnaryMinus UnaryPositive UnboundedFollowing UnboundedPreceding
    UnresolvedAlias UnresolvedAttribute UnresolvedCollation UnresolvedExtractValue
    UnresolvedFunction UnresolvedGenerator UnresolvedNamedLambdaVariable UnresolvedOrdinal
    UnresolvedStar UnresolvedStarExceptOrReplace UnresolvedWindowExpression UnspecifiedFrame
    VariantArrayAppend VariantExplode VariantGet VariantInsert VariantSet VariantStripNulls
    WindowExpression WindowSpecDefinition With YearOfWeek
    """.split()
)
"""Expressions that are no function's own."""

HINTS = ("COALESCE", "REBALANCE", "REPARTITION", "REPARTITION_BY_RANGE", "MERGE", "MERGEJOIN",
         "SHUFFLE_MERGE")  # fmt: skip
"""Hints that cannot take memory."""

PLAIN_VALUES = frozenset(
    """
    Literal Cast UnaryMinus Alias
    array binary date decimal map map_from_arrays named_struct parse_json struct timestamp to_date
    to_timestamp unhex
    """.split()
)
"""What may stand in VALUES: classes of expressions and names of functions."""

WORDED = {
    "CompoundBody": "a script (BEGIN … END)",
    "ExpressionWithUnresolvedIdentifier": "IDENTIFIER(…)",
    "PlanWithUnresolvedIdentifier": "IDENTIFIER(…)",
    "NamedParameter": "a parameter (:name)",
    "PosParameter": "a parameter (?)",
    "ScriptTransformation": "TRANSFORM … USING",
    "UnresolvedExecuteImmediate": "EXECUTE IMMEDIATE",
    "VariableReference": "a session variable",
    "RelationTimeTravel": "AS OF",
    "NamedStreamingRelation": "STREAM",
    "FunctionTableSubqueryArgumentExpression": "TABLE(…) as an argument",
    "CurrentUser": "current_user",
    "ScalarSubquery": "a subquery",
}
"""Words an analyst knows, where Spark's class names are not."""
