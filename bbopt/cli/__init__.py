"""The command ``bbopt``: one module a group of subcommands, each imported when it is called."""
