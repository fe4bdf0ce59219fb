namespace rankine {}
