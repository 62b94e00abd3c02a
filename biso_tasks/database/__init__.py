"""PostgreSQL as an instance uses it. Everything that knows PostgreSQL lives in this folder.

Start with `Server` (server.py); `connect` talks SQL, `admin` creates and renames databases,
`snapshot`, `copy` and `create` build a stage, `swap` exchanges it with the live database.
"""
