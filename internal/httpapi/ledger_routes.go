package httpapi

import (
	"net/http"
	"reflect"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/readmodels"
)

// ledgerRoutes are the routes of accounts and transactions. Paths that are names come
// before those with an id in their place.
func (a *API) ledgerRoutes() []*route {
	return []*route{
		{
			Method: http.MethodPost, Path: accountsPath, ID: "openAccount",
			Kind: command, Permission: commands.AccountsWrite, Status: http.StatusCreated,
			Tag: "Accounts", Summary: "Open an account",
			Description: "Nothing is on it. Its code is taken for ever, also when it is closed.",
			register:    handle(a.openAccount),
		},
		{
			Method: http.MethodGet, Path: accountsPath, ID: "listAccounts",
			Kind: query, Permission: commands.AccountsRead, Status: http.StatusOK,
			Tag: "Accounts", Summary: "List accounts",
			Description: "By code, with what is on them now or, with as_of and known_at, was. All filters must match.",
			Filters:     readmodels.AccountFilters(),
			register:    handle(a.listAccounts),
		},
		{
			Method: http.MethodGet, Path: accountsPath + "/{id}", ID: "getAccount",
			Kind: query, Permission: commands.AccountsRead, Status: http.StatusOK,
			Tag: "Accounts", Summary: "Read an account",
			Description: "With what is on it. With as_of, what entries of that date and before come to; with known_at, as far as they had been recorded then. Both together answer what was known then of that date.",
			register:    handle(a.getAccount),
		},
		{
			Method: http.MethodPost, Path: accountsPath + "/{id}/close", ID: "closeAccount",
			Kind: command, Permission: commands.AccountsWrite, Status: http.StatusOK,
			Tag: "Accounts", Summary: "Close an account",
			Description: "It takes no entries any more; what is on it stays, and what waits for approval can be posted once it is open again. Doing so twice changes nothing.",
			register:    handle(a.closeAccount),
		},
		{
			Method: http.MethodPost, Path: accountsPath + "/{id}/reopen", ID: "reopenAccount",
			Kind: command, Permission: commands.AccountsWrite, Status: http.StatusOK,
			Tag: "Accounts", Summary: "Reopen a closed account",
			Description: "It takes entries again.",
			register:    handle(a.reopenAccount),
		},
		{
			Method: http.MethodGet, Path: accountsPath + "/{id}/entries", ID: "listEntries",
			Kind: query, Permission: commands.AccountsRead, Status: http.StatusOK,
			Tag: "Accounts", Summary: "The statement of an account",
			Description: "Its entries by date, and those of a date as they were recorded, with the balance after each; with known_at, as it was known then.",
			register:    handle(a.listEntries),
		},
		{
			Method: http.MethodGet, Path: accountsPath + "/{id}/balances", ID: "getBalances",
			Kind: query, Permission: commands.AccountsRead, Status: http.StatusOK,
			Tag: "Accounts", Summary: "The balances of an account over a time",
			Description: "One at the end of each day or month of a range, up to 500 of them, with known_at as far as it was recorded then. What comes after is the next range.",
			register:    handle(a.getBalances),
		},
		{
			Method: http.MethodGet, Path: transactionsPath + "/trial-balance", ID: "getTrialBalance",
			Kind: query, Permission: commands.AccountsRead, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Trial balance",
			Description: "What every account has on it, on the side where it stands; the sides are equal in each currency. With as_of and known_at at a point in the past.",
			register:    handle(a.getTrialBalance),
		},
		{
			Method: http.MethodPut, Path: transactionsPath + "/policy", ID: "setPolicy",
			Kind: command, Permission: commands.TransactionRulesWrite, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Set the approval policy of a currency",
			Description: "Transactions in it above the amount need approval before they are posted. It holds at once, also for what is submitted already.",
			register:    handle(a.setPolicy),
		},
		{
			Method: http.MethodGet, Path: transactionsPath + "/policy", ID: "getPolicy",
			Kind: query, Permission: commands.TransactionsRead, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Read the approval policies",
			Description: "All of them, or that of one currency. A currency without one needs no approval.",
			register:    handle(a.getPolicy),
		},
		{
			Method: http.MethodPut, Path: transactionsPath + "/periods", ID: "closePeriods",
			Kind: command, Permission: commands.TransactionRulesWrite, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Close the books up to a date",
			Description: "Nothing is posted on that date or before any more. An earlier date, or null, opens periods again; both are events.",
			register:    handle(a.closePeriods),
		},
		{
			Method: http.MethodGet, Path: transactionsPath + "/periods", ID: "getPeriods",
			Kind: query, Permission: commands.TransactionsRead, Status: http.StatusOK,
			Tag: "Transactions", Summary: "How far the books are closed",
			Description: "Nothing can be posted on this date or before.",
			register:    handle(a.getPeriods),
		},
		{
			Method: http.MethodPost, Path: transactionsPath + "/bulk", ID: "createTransactions",
			Kind: command, Permission: commands.TransactionsWrite, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Make many transactions",
			Description: "Up to 5,000, as an array or as NDJSON, a transaction a line. Each by itself and in the order of the request, with a result of its own; or with atomic=true all or none, and then a problem names the index of the first that is refused. An Idempotency-Key answers for each of them again.",
			Media:       []string{"application/json", ndjsonMedia},
			MaxBody:     bulkBytes,
			LinesOf:     reflect.TypeFor[NewTransaction](),
			register:    handle(a.createTransactions),
		},
		{
			Method: http.MethodPost, Path: transactionsPath, ID: "createTransaction",
			Kind: command, Permission: commands.TransactionsWrite, Status: http.StatusCreated,
			Tag: "Transactions", Summary: "Make a transaction",
			Description: "A draft, or one that is submitted or posted at once. Problems come in a fixed order: what the request says, then a taken external_ref, then the state of accounts, periods, policy and balances.",
			MaxBody:     eventBytes,
			register:    handle(a.createTransaction),
		},
		{
			Method: http.MethodGet, Path: transactionsPath, ID: "listTransactions",
			Kind: query, Permission: commands.TransactionsRead, Status: http.StatusOK,
			Tag: "Transactions", Summary: "List and search transactions",
			Description: "By date. All filters must match. awaiting=me lists what waits for the caller's approval.",
			Filters:     readmodels.TransactionFilters(),
			register:    handle(a.listTransactions),
		},
		{
			Method: http.MethodGet, Path: transactionsPath + "/{id}", ID: "getTransaction",
			Kind: query, Permission: commands.TransactionsRead, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Read a transaction",
			Description: "As it is now. Once it is posted, its lines and its date are those that were. Who holds privacy is shown what is private, here and not in lists, and that is recorded first.",
			register:    handle(a.getTransaction),
		},
		{
			Method: http.MethodGet, Path: transactionsPath + "/{id}/explain", ID: "explainTransaction",
			Kind: query, Permission: commands.TransactionsRead, Status: http.StatusOK,
			Tag: "Transactions", Summary: "The events behind a transaction",
			Description: "In order, with what each has put on accounts.",
			register:    handle(a.explainTransaction),
		},
		{
			Method: http.MethodPatch, Path: transactionsPath + "/{id}", ID: "patchTransaction",
			Kind: command, Permission: commands.TransactionsWrite, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Change a transaction",
			Description: "A JSON merge patch (RFC 7396) of a draft, or of what is submitted. It ends all approvals.",
			Media:       []string{"application/merge-patch+json", "application/json"},
			MaxBody:     eventBytes,
			register:    handle(a.patchTransaction),
		},
		{
			Method: http.MethodPost, Path: transactionsPath + "/{id}/submit", ID: "submitTransaction",
			Kind: command, Permission: commands.TransactionsWrite, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Ask for approval",
			Description: "The money is held from then on, until the transaction is posted or over.",
			register:    handle(a.submitTransaction),
		},
		{
			Method: http.MethodPost, Path: transactionsPath + "/{id}/approve", ID: "approveTransaction",
			Kind: command, Permission: commands.TransactionsApprove, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Approve a transaction",
			Description: "Not by a person who made, changed or submitted it. Send the version that you have read as If-Match: then nobody can change it under your hands.",
			register:    handle(a.approveTransaction),
		},
		{
			Method: http.MethodPost, Path: transactionsPath + "/{id}/reject", ID: "rejectTransaction",
			Kind: command, Permission: commands.TransactionsApprove, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Reject a transaction",
			Description: "It is over, and the money is released.",
			register:    handle(a.rejectTransaction),
		},
		{
			Method: http.MethodPost, Path: transactionsPath + "/{id}/post", ID: "postTransaction",
			Kind: command, Permission: commands.TransactionsPost, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Post a transaction",
			Description: "The money moves. What is above the limit of the policy is posted by an approver, and needs its approvals, which count only while their givers may still approve. Some of the lines post a part, and release the rest.",
			MaxBody:     eventBytes,
			register:    handle(a.postTransaction),
		},
		{
			Method: http.MethodPost, Path: transactionsPath + "/{id}/void", ID: "voidTransaction",
			Kind: command, Permission: commands.TransactionsApprove, Status: http.StatusOK,
			Tag: "Transactions", Summary: "Void a transaction",
			Description: "Ends what is not posted, and releases the money. What is posted is reversed instead.",
			register:    handle(a.voidTransaction),
		},
		{
			Method: http.MethodPost, Path: transactionsPath + "/{id}/reverse", ID: "reverseTransaction",
			Kind: command, Permission: commands.TransactionsApprove, Status: http.StatusCreated,
			Tag: "Transactions", Summary: "Reverse a transaction",
			Description: "A new transaction takes back what was posted, once; the receipt is about the new one. It needs no approval.",
			register:    handle(a.reverseTransaction),
		},
	}
}
