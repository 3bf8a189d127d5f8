"""The operator's command. Thin verbs over :mod:`evergrant.connect.operator_actions`, under the operator's own IAM
identity."""
