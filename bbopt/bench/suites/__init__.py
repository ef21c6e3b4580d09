"""The benchmark suites that come with bbopt, one TOML file each."""
