"""The label-efficiency study: who labels how many patients, what the cells say together, tables, figures, pages."""
