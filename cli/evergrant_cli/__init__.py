"""The operator's command. Thin verbs over :mod:`evergrant.connect.operations`, under the operator's own IAM
identity."""
