"""The HTTP side: the APIs of OpenAI, Anthropic and vLLM in front of a system that runs live."""
