"""Taking in what other sites, or other stores of this one, bring: offers, deliveries, receipts."""
