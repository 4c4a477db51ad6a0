"""What this host, its array and its VMs should be like for the pools of the file, and what of it they are not.

`advice` has every check with its reason, `needs` the facts as tables; `onhost`, `onarray` and `guests` judge one side each, pure, from
what `look` and the array's client have read.  Nothing is changed anywhere.
"""
