"""The benchmarks: `invoke bench`. docs/benchmarks.md says what is measured and how."""
