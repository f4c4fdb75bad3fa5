/*
 * A logical plan of Spark's as JSON, whole: what TreeNode.toJSON leaves out (CTE definitions, window
 * definitions, rows of inline tables) is where something forbidden could hide. Compiled in the driver by
 * Janino, Spark's own compiler of generated code, so the language is that of Java 7 without generics.
 */
package kerasql;

import java.util.IdentityHashMap;
import org.apache.spark.sql.catalyst.AliasIdentifier;
import org.apache.spark.sql.catalyst.FunctionIdentifier;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.InheritAnalysisRules;
import org.apache.spark.sql.catalyst.expressions.NamedExpression;
import org.apache.spark.sql.catalyst.expressions.RuntimeReplaceable;
import org.apache.spark.sql.catalyst.plans.JoinType;
import org.apache.spark.sql.catalyst.plans.logical.LocalRelation;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.plans.logical.View;
import org.apache.spark.sql.catalyst.plans.logical.WithCTE;
import org.apache.spark.sql.catalyst.trees.Origin;
import org.apache.spark.sql.catalyst.trees.TreeNode;
import org.apache.spark.sql.types.Decimal;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;
import org.apache.spark.unsafe.types.CalendarInterval;
import org.apache.spark.unsafe.types.UTF8String;

public class Described {
    private final StringBuilder out = new StringBuilder();
    private int nodes = 0;
    private int most = 0;

    /** The nodes of a plan, children first; null where there are more than that many. */
    public String nodes(LogicalPlan plan, int most) {
        Described described = new Described();
        described.most = most;
        described.node(plan);
        return described.nodes > most ? null : "[" + described.out + "]";
    }

    /** The values of a node's constructor, with nodes by their number: {"node": 7}. */
    private int node(TreeNode node) {
        if (nodes > most) return -1;
        StringBuilder fields = new StringBuilder();
        // What expressions refer to comes first: the relations below, and those that WITH names.
        IdentityHashMap below = new IdentityHashMap();
        if (node instanceof WithCTE) each(below, ((WithCTE) node).cteDefs().iterator());
        if (node instanceof LogicalPlan && !(node instanceof View)) {
            each(below, node.children().iterator());
        }
        String more = "";
        if (node instanceof View) {
            // What a view holds was made by its owner. Only who it is matters.
            View view = (View) node;
            text(fields, view.desc().identifier().unquotedString());
            fields.append(",").append(view.isTempView());
        } else if (node instanceof LocalRelation) {
            value(fields, below, ((LocalRelation) node).output());
            fields.append(",").append(((LocalRelation) node).data().size());
        } else if (node instanceof InheritAnalysisRules) {
            // Its parameters are kept for messages, as they were before analysis.
            value(fields, below, ((RuntimeReplaceable) node).replacement());
        } else {
            items(fields, below, node.productIterator());
        }
        if (node instanceof LogicalPlan) more = ",\"rows\":" + rows((LogicalPlan) node);
        if (node instanceof Expression) more = ",\"type\":" + type((Expression) node);
        if (node instanceof NamedExpression) more += ",\"id\":" + id((NamedExpression) node);
        Origin at = node.origin();
        if (at.startIndex().isDefined() && at.stopIndex().isDefined()) {
            more += ",\"at\":[" + at.startIndex().get() + "," + at.stopIndex().get() + "]";
        }
        if (nodes > 0) out.append(",\n");
        out.append("{\"class\":");
        text(out, node.getClass().getName());
        out.append(more).append(",\"fields\":[").append(fields).append("]}");
        return nodes++;
    }

    private void each(IdentityHashMap below, scala.collection.Iterator plans) {
        while (plans.hasNext()) {
            Object plan = plans.next();
            if (!below.containsKey(plan)) below.put(plan, Integer.valueOf(node((TreeNode) plan)));
        }
    }

    private void value(StringBuilder to, IdentityHashMap below, Object value) {
        if (value == null) to.append("null");
        else if (value instanceof TreeNode) {
            Object number = below.get(value);
            if (number == null) number = Integer.valueOf(node((TreeNode) value));
            to.append("{\"node\":").append(number).append("}");
        } else if (value instanceof Boolean || value instanceof Integer || value instanceof Long
            || value instanceof Short || value instanceof Byte) to.append(value);
        else if (value instanceof String || value instanceof UTF8String || value instanceof Character
            || value instanceof JoinType || value instanceof CalendarInterval) {
            text(to, value.toString());
        }
        else if (value instanceof Number || value instanceof Decimal) text(to, value.toString());
        else if (value instanceof AliasIdentifier) text(to, ((AliasIdentifier) value).name());
        else if (value instanceof FunctionIdentifier) {
            text(to, ((FunctionIdentifier) value).unquotedString());
        } else if (value instanceof CaseInsensitiveStringMap) {
            text(to, ((CaseInsensitiveStringMap) value).isEmpty() ? "" : "options");
        } else if (value instanceof scala.Option) list(to, below, ((scala.Option) value).iterator());
        else if (value instanceof scala.collection.Iterable) {
            list(to, below, ((scala.collection.Iterable) value).iterator());
        } else if (value instanceof scala.Product
            && value.getClass().getName().startsWith("scala.Tuple")) {
            list(to, below, ((scala.Product) value).productIterator());
        } else {
            to.append("{\"class\":");
            text(to, value.getClass().getName());
            to.append("}");
        }
    }

    private void list(StringBuilder to, IdentityHashMap below, scala.collection.Iterator values) {
        to.append("[");
        items(to, below, values);
        to.append("]");
    }

    private void items(StringBuilder to, IdentityHashMap below, scala.collection.Iterator values) {
        boolean first = true;
        while (values.hasNext()) {
            if (!first) to.append(",");
            first = false;
            value(to, below, values.next());
        }
    }

    private static String rows(LogicalPlan plan) {
        try {
            scala.Option most = plan.maxRows();
            return most.isDefined() ? most.get().toString() : "null";
        } catch (Exception unresolved) {
            return "null";
        }
    }

    private static String type(Expression expression) {
        try {
            return "\"" + expression.dataType().typeName() + "\"";
        } catch (Exception unresolved) {
            return "null";
        }
    }

    private static String id(NamedExpression expression) {
        try {
            return String.valueOf(expression.exprId().id());
        } catch (Exception unresolved) {
            return "null";
        }
    }

    private static void text(StringBuilder to, String value) {
        to.append('"');
        for (int i = 0; i < value.length(); i++) {
            char c = value.charAt(i);
            if (c == '"' || c == '\\') to.append('\\').append(c);
            else if (c >= ' ' && c <= '~') to.append(c);
            else to.append(String.format("\\u%04x", new Object[] {Integer.valueOf(c)}));
        }
        to.append('"');
    }
}
