"""What gRPC puts into HTTP/2, sans-IO: heads of calls, messages with their prefix, statuses."""
