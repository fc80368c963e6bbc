"""Text forms of values: JSON, YAML, base64 and times, with the messages of the Go libraries for what is wrong."""
