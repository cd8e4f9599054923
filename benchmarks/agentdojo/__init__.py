"""The model that believes everything, for `benchmarks.injection` over two suites of AgentDojo.

The suites (tools, tasks, attacks, checks) are `sayso.evals.importers.agentdojo`; their data is not in this repository.
"""
