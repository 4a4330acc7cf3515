"""Elements of an HTML page, checked for their order."""

from html.parser import HTMLParser


class Elements(HTMLParser):
    """Collects the elements of a page and checks that they are closed in order."""

    VOID = ("meta", "img", "br")

    def __init__(self, page):
        super().__init__()
        self.names, self.open, self.text = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
