"""The operator's command. Thin verbs over :mod:`evergrant.operations`, under the operator's own IAM identity."""
