"""OpenAI and Azure OpenAI, simulated: both dialects for the real SDK, answers that fit the schema, a usage book."""
