class NotTheSameAgain:
    def validate(self, password, user=None) -> None: ...

    def get_help_text(self) -> str:
        return ""
