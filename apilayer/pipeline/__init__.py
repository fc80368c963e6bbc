"""From a parsed HTTP request to a handler and back: request info, authentication, authorization, flow control,
content negotiation, errors. The whole order stands in `pipeline.Pipeline.handle`. No web framework in here.
"""
