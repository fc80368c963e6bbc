"""Admission control: what may still change or refuse a write that the authorizer lets through.

Plugins decide at once, from the request and from the watch cache; nothing here reads a socket, waits for a clock or
knows a protocol. Only `Plugin.reserve` may wait, for the store. `choice.ORDER` is the whole chain, `chain` runs it.
"""
