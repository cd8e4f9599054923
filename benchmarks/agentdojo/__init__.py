"""Two suites of AgentDojo (Debenedetti et al., ETH Zurich, MIT licence) over sayso's tools, for `benchmarks.injection`.

The environments, the requests and the attacker's goals are data and are not in this repository. What is here is ours:
the tools over the environments, the calls that solve a task, and the checks, written after AgentDojo's and adapted.
"""
