"""Everything outside, behind the ports: HTTP, clock, rate limiting, logs and metrics.

The only room that may import boto3, an HTTP library or Powertools. Adapters hold no decisions.
"""
