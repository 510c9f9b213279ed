"""Windows: Streamlit pages over the public API. They look and never touch.

May not: open a database, import another room but the kernel, compute a number that the API does not give.
"""
