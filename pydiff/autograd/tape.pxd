# C types for tape.py where Cython compiles it.
cimport cython

cdef object _mode
cdef type _tensor_type

cdef class TensorBase:
    cdef public object _data
    cdef public object _grad
    cdef public bint _leaf
    cdef public long _version
    cdef public Node node
    cdef object __weakref__

cdef class Node:
    cdef readonly str op
    cdef readonly tuple parents
    cdef readonly tuple sources
    cdef readonly tuple checks
    cdef readonly dict attrs
    cdef readonly tuple shape
    cdef readonly object dtype

    cpdef free(self)

@cython.locals(tensor=TensorBase, parents=tuple)
cdef TensorBase _record(str op, object data, tuple inputs, tuple saved, dict attrs)

@cython.locals(base=TensorBase)
cdef object _parent(object x)

@cython.locals(base=TensorBase)
cdef object _array(object x)

@cython.locals(base=TensorBase)
cdef object _check(object x)

@cython.locals(node=Node, gradients=dict, pulled=tuple, i=Py_ssize_t)
cpdef backward(TensorBase root, object gradient=*, TensorBase only=*)

@cython.locals(node=Node, reaching=set)
cdef object _restrict(object start, TensorBase leaf)

cdef object _start_gradient(TensorBase root, object gradient)

@cython.locals(node=Node, uses=dict, stack=list, order=list, seen=long, left=long)
cdef list _order(object start)

cdef object _sum(dict gradients, object parent, tuple pulled, Py_ssize_t i)

@cython.locals(gradients=tuple, i=Py_ssize_t)
cdef tuple _pull(Node node, object dy)

cdef object _check_pulled(Node node, object rule, Py_ssize_t i, object parent, object dx)

@cython.locals(i=Py_ssize_t)
cdef object _check_saved(Node node, object rule)

@cython.locals(leaf=TensorBase)
cdef object _accumulate(dict gradients, object start_gradient)
